"""The KVK half of the sandbox: Zoeken, Basisprofiel, Vestigingsprofiel and Naamgeving on both bases (KVK reference)."""
