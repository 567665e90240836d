"""One module for each command. With vst/config.py the only modules that know Hydra.

Each command builds objects from its configuration in a fixed order and calls the library.
"""
