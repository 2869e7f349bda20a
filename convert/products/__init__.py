"""What a build leaves behind: bundles, a plan, a report."""
