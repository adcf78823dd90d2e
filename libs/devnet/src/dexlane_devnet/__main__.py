"""``python -m dexlane_devnet``."""

from dexlane_devnet.main import main

main()
