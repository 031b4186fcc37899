"""Setup of the development environment and its lock files; folders for documentation, releases, realism, testing."""
