"""Test files that take longest, first those that take most: all tests begin with them, so that the
processes end together; ``make quick`` leaves them out where they were not touched."""

LONG = (
    "test_native", "test_ray_nodes", "test_triton", "test_curate_ray", "test_gpu_script",
    "test_ray_group", "test_sharded", "test_ray_recovery", "test_triton_compiled", "test_device",
    "test_benchmark", "test_docs", "test_leaderboard", "test_faults", "test_fuzz", "test_places",
    "test_distributed", "test_groups_of_processes", "test_documents", "test_errors", "test_plugins",
    "test_remote_images", "test_remote_frames", "test_curate", "test_checkpoint", "test_operations",
    "test_groups", "test_screen",
)  # fmt: skip
