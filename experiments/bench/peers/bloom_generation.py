"""What transformers generates from an exported checkpoint; runs in the environment of that peer.

`python bloom_generation.py FOLDER` reads a checkpoint, `settings.json` and `inputs.npz` from the
folder: `tokens` and `mask`, prompts padded on the left, `count`, and `logits` (n, V). For entry k
of the settings' `searches`, which `generate` takes as they are, it writes `k/tokens` (prompts,
beams, count), padded, and `k/scores`; for entry k of `warpers`, a class of
`transformers.generation` with its argument, `warped/k`: where of the logits something may be drawn.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from transformers import generation


def main(folder: pathlib.Path) -> None:
    """Reads the inputs, writes the outputs."""
    torch.set_num_threads(1)
    given = {k: torch.from_numpy(v) for k, v in np.load(folder / "inputs.npz").items()}
    settings = json.loads((folder / "settings.json").read_text())
    model = transformers.BloomForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    count, prompts, found = int(given["count"]), given["tokens"].long(), {}
    for k, search in enumerate(settings["searches"]):
        with torch.no_grad():
            out = model.generate(
                prompts,
                attention_mask=given["mask"].long(),
                max_new_tokens=count,
                do_sample=False,
                num_return_sequences=search["num_beams"],
                return_dict_in_generate=True,
                output_scores=True,
                pad_token_id=settings["pad"],
                **{"eos_token_id": settings["eos"], **search},
            )
        made = out.sequences[:, prompts.shape[1] :].numpy()
        fill = [(0, 0), (0, count - made.shape[1])]
        made = np.pad(made, fill, constant_values=settings["pad"])
        shape = len(prompts), search["num_beams"]
        found[f"{k}/tokens"] = made.reshape(*shape, count)
        if search["num_beams"] > 1:
            found[f"{k}/scores"] = out.sequences_scores.numpy().reshape(shape)
    for k, (name, value) in enumerate(settings["warpers"]):
        warped = getattr(generation, name)(value)(None, given["logits"].clone())
        found[f"warped/{k}"] = torch.isfinite(warped).numpy()
    np.savez_compressed(folder / "outputs.npz", **found)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main(pathlib.Path(sys.argv[1]))
