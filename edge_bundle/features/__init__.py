"""DSP steps between a raw window and the model's input, the same for converter and device. Pure."""
