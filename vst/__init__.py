"""vst: real-time video style transfer with generative adversarial training."""

__version__ = "0.1.0"
