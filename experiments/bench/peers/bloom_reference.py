"""What transformers computes for an exported checkpoint; runs in the environment of that peer.

`python bloom_reference.py FOLDER` reads a checkpoint and `inputs.npz` from the folder: `tokens`
and `mask` (n, T), `labels` (n, T) with -100 where none counts, `new`, how many tokens to
generate from the prompts `prompts` and `prompt_mask`. It writes `outputs.npz`: logits, hidden
states of row 0, loss, the gradient of every parameter, generated tokens, and the keys that
loading missed.
"""

import pathlib
import sys

import numpy as np
import torch
import transformers


def main(folder: pathlib.Path) -> None:
    """Reads the inputs, writes the outputs."""
    torch.set_num_threads(1)
    given = {k: torch.from_numpy(v) for k, v in np.load(folder / "inputs.npz").items()}
    dtype = {0: torch.float32, 1: torch.bfloat16}[int(given.get("bfloat16", torch.tensor(0)))]
    model, info = transformers.BloomForCausalLM.from_pretrained(
        folder, dtype=dtype, output_loading_info=True
    )
    model.eval()
    tokens, mask = given["tokens"].long(), given["mask"].long()
    out = model(tokens, attention_mask=mask, labels=given["labels"].long(), use_cache=False)
    out.loss.backward()
    result = {
        "logits": out.logits.detach().float().numpy(),
        "loss": np.float64(out.loss.item()),
        "problems": np.array(
            [str(k) for kind in ("missing_keys", "unexpected_keys") for k in info[kind]], dtype="U"
        ),
    }
    for name, parameter in model.named_parameters():
        result["gradient/" + name] = parameter.grad.float().numpy()
    with torch.no_grad():
        states = model.transformer(
            tokens[:1], attention_mask=mask[:1], output_hidden_states=True, use_cache=False
        ).hidden_states
        result["states"] = np.stack([state[0].float().numpy() for state in states])
        new = int(given["new"])
        if new:
            generated = model.generate(
                given["prompts"].long(),
                attention_mask=given["prompt_mask"].long(),
                max_new_tokens=new,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=3,
            )
            result["generated"] = generated[:, given["prompts"].shape[1] :].numpy()
    np.savez_compressed(folder / "outputs.npz", **result)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
