"""How To Backdoor Federated Learning (Bagdasaryan, Veit, Hua, Estrin, Shmatikov, AISTATS 2020)."""
