"""Behaviour that the CNI specification asks of any plugin, as a table of cases for any executable."""
