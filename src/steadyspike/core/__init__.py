"""What every part needs: arguments and their checks, probe layout, loading, saving, the environment."""
