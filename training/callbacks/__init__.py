"""What happens beside the training steps, one concern per module."""
