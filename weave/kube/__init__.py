"""Everything that speaks to the Kubernetes API: the client, the list/watch machine, and the agent of a node.

The client and the machine know nothing of networks and serve the policy controller too. The agent (`weave-kube`) is a
process of its own and reaches the router through the client of the control API alone. Nothing is imported here.
"""
