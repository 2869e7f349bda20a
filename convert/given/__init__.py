"""What a build is given: a model, a spec, samples; read, bounded and checked."""
