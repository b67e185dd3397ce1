"""The federated variant: users who keep their own places."""


def run(config, task, known, words, net):
    raise NotImplementedError
