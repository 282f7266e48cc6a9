"""The stages of a run: keys, records, resuming, and what each of them does.

===================  ===============================================================================
``stage``            one stage: its key, its record, whether it is done; skipping and resuming
``run_folder``       where the parts of a run are and what they are called
``run_stages``       from images to results: data, embedding, selection, pre-training, evaluation
``task_stages``      tasks beyond segmentation, and encoders that the run did not train
``quality_stage``    images of the pool that are blurred, black or the like
``probe_stages``     small models that learn from what was kept alone
``probe_rows``       the classes that they learn, and are asked about
``leak_stages``      test images looked for in the pool and in what trains the heads
``generalisation``   pre-training on one data set, segmentation on every other
``score_stages``     the tables and the report
``shared_training``  one pre-training for all stages that would train the same
===================  ===============================================================================
"""
