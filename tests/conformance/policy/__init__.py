"""What network policy means, as cases: manifests applied in steps, and who may reach whom after each.

Three suites, written anew from what is known of them: the matrix of cyclonus, Kubernetes' own `Netpol` list, and the
conformance list of ClusterNetworkPolicy. `python -m tests.conformance.policy` runs them and prints a table.

For a runner: `suites.cases(addresses)` yields cases; start from `case.world`, let `apply(step, world)` give the next
world, take its `probes`, and compare what happens with `expected(case, step, world)`. A world is raw manifests: what
is tested parses them as it does in earnest, and the naive matcher reads them without any of our code.
"""
