"""The only code that touches the machine: processes, files of the system, clocks, network."""
