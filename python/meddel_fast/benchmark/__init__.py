"""The benchmark: from images to a NormDEL table, resumable at every point.

===================  ===============================================================================
``run``              the whole run of a `config.RunConfig`, or up to a group of stages
``plan``             which stages a run has, in which order
``checks``           what must hold before any of them
``run_stages``       what each depends on, which module does it, from images to results; further
                     ones: `task_stages`, `leak_stages`, `generalisation`, `score_stages`
``run_folder``       where the parts of a run are and what they are called
``stage``            keys, records, validity; skipping and resuming
``shared_training``  one pre-training for all stages that would train the same
``results``          where the results of a run are, by its ``run.json``, which `run_json` checks
``leakage``          test images that the pool or the training of a head holds too
``normdel``          DEL and NormDEL
``score_tables``     all tables of a run
``score``            means, deviations, NormDEL, planted truth
``bootstrap``        draws of runs and images, intervals
``ranks``            average ranks, Friedman, Nemenyi
``statistics``       differences, alpha sweep, areas, ranks as tables
``cost``             bytes, steps, time, energy
``verify``           saved predictions scored again
``leaderboard``      results of many runs with where they came from; `standings` compares them,
                     `leaderboard_page` and `rank_plot` show them
``display``          the live list, or plain lines
``machine``          versions and hardware, for ``run.json`` and ``meddel-fast info``
===================  ===============================================================================
"""
