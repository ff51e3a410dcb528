"""One module a task: its rows made into tensors, its model, its loss and its validation figures."""
