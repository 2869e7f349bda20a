"""What a model is once it leaves the lab, and the one path from raw window to decision."""
