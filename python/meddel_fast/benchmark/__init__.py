"""The benchmark: from images to a NormDEL table, resumable at every point.

==============================================  ====================================================
``run``                                         a whole run of a `config.RunConfig`, or its first
                                                stages
``config``, ``probe_settings``                  the settings of a run
``config_file``, ``config_schema``              read from TOML; their JSON
                                                schema
``checks``                                      what must hold before any stage
``plan``                                        which stages a run has, in which order
``expected``                                    what a run comes to, told before: pool, steps,
                                                trainings
``stages``                                      what each stage depends on and does; keys, records,
                                                resuming
``scores``                                      from single results to tables: NormDEL, intervals,
                                                ranks, costs
``probe``                                       small models that learn from what was kept alone
``subgroups``                                   what a selection kept of each site, patient,
                                                class
``leakage``                                     test images that the pool or the training of a head
                                                holds too
``audit_words``, ``inside``, ``sight``          what the audit found, in words; equal files inside a
                                                set; which copies it can see
``results``, ``run_json``                       where the results of a run are, by its ``run.json``,
                                                which is checked first
``given``                                       predictions of somebody else's model, as results
``verify``                                      saved predictions scored again
``leaderboard``                                 results of many runs in one table
``report``                                      a run as one HTML page
``pair_sheet``                                  pairs at a threshold, as a page or a picture
``display``                                     the live list of stages, or plain lines
``machine``                                     versions and hardware, for ``run.json`` and
                                                ``meddel-fast info``
``doctor``, ``survey``                          what is missing for which feature; the plug-ins that
                                                are installed
==============================================  ====================================================
"""
