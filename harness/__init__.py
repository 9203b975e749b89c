"""Real parts, stand-ins and visitors for the tests and the benchmark."""
