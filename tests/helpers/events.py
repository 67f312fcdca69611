"""What TensorBoard shows of a folder."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read_folder(folder: Path) -> EventAccumulator:
    """The events of a folder as TensorBoard reads them, all of them."""
    everything = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}
    return EventAccumulator(str(folder), size_guidance=everything).Reload()


def shown_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The points (step, value) of every curve in a folder; {} where there is none."""
    if not folder.exists():
        return {}
    events = read_folder(folder)
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
