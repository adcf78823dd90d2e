"""Where private keys lie: in a file, in Vault, in a key service of a cloud, behind Web3Signer, in a Ledger.

A store turns a message into a signature and decides nothing. Every client is imported only when its store is chosen.
"""
