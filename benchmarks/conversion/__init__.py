"""What ``benchmarks.convert`` is made of: cases, their samples, children, a judge, peers."""
