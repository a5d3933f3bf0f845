//! Integration tests: the built program against real services. `tests/run` starts them.
