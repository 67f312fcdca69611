"""Which devices multiply bfloat16 in hardware."""

import re

import torch

# AMD's GPUs with matrix instructions for bfloat16: CDNA 1 to 4, RDNA 3 and 4. Their capability numbers do not say so.
AMD_BFLOAT16 = re.compile(r"gfx(908|90a|9[45]\w|1[12]\w\w)\b")


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware. Elsewhere bfloat16 is slower than float32.

    torch.cuda.is_bf16_supported() answers another question: it is true for emulation and asks about the current GPU.
    """
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    if device.type != "cuda":
        return False
    if torch.version.hip:
        return bool(AMD_BFLOAT16.match(torch.cuda.get_device_properties(device).gcnArchName))
    return torch.cuda.get_device_capability(device) >= (8, 0)
