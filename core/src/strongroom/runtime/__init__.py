"""What Python does to our objects: forks, contexts, pickling, coroutines; and cheap classes and loggers."""
