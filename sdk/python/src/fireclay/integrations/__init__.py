"""The tool `run_code` for frameworks of agents. Each module needs its framework, which this package does not install."""
