"""Engine, wiring, gateway, console and command line of Weir."""

__version__ = "0.1.0"
