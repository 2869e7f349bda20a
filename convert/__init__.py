"""The lab: a trained model and real recordings in, a measured bundle out."""
