"""The Noise Protocol Framework, revision 34: the part of it that the mesh and the data tunnel use.

Patterns XXpsk3 and IKpsk2 over 25519, AESGCM or ChaChaPoly, SHA256 or BLAKE2s. Import from the modules:
`protocol` names a combination, `handshake_state` runs it, `cipher_state` carries what follows. Pure: keys are given.
"""
