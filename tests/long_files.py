"""Test files that take longest, first those that take most: all tests begin with them, so that the
processes end together; ``make quick`` leaves them out where they were not touched."""

LONG = (
    "test_native", "test_triton", "test_gpu_script", "test_sharded", "test_triton_compiled",
    "test_device", "test_benchmark", "test_leaderboard", "test_faults", "test_fuzz",
    "test_distributed", "test_groups_of_processes", "test_docs", "test_operations", "test_groups",
    "test_screen",
)  # fmt: skip
