"""These tests run in the archive's environment: `make test-release`, which `make test` calls."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("rocrate") else ["test_*.py"]
