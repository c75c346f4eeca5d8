"""Cloud JSON as pydantic models, and nothing else."""
