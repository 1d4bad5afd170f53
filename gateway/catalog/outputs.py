"""What comes out of a network: which of its outputs are read, and whether they are what its parameters say."""

from collections.abc import Sequence

from gateway.catalog.parameters import Activation, CardError, DetectionParameters, Parameters
from gateway.domain import ServedModel, TensorSpec


def read_outputs(parameters: Parameters, served: ServedModel) -> tuple[TensorSpec, ...]:
    """In the order in which they are read. Raises CardError where there are others than the task has."""
    if not isinstance(parameters, DetectionParameters) or parameters.boxes != "detr":
        if len(served.outputs) != 1:
            raise CardError(f"{parameters.task} needs exactly one output")
        return served.outputs
    specs = {spec.name: spec for spec in served.outputs}
    wanted = (parameters.logits_output, parameters.boxes_output)
    if specs.keys() != set(wanted) or len(specs) != 2:
        raise CardError(f"detr has the outputs {' and '.join(wanted)}, this model has {', '.join(specs)}")
    return tuple(specs[name] for name in wanted)


def check_outputs(parameters: Parameters, outputs: Sequence[TensorSpec], *, batched: bool) -> None:
    """Raises CardError where datatype or shape contradict the parameters."""
    shapes = [_of_one_input(output, batched=batched) for output in outputs]
    classes = len(parameters.labels)
    if not isinstance(parameters, DetectionParameters):
        if [side for side in shapes[0] if side not in (1, -1)] not in ([classes], []):
            raise CardError(
                f"output {outputs[0].name} has shape {list(outputs[0].shape)}, gateway.labels has {classes} lines"
            )
        if classes == 1 and parameters.activation in (Activation.SOFTMAX, Activation.NONE):
            raise CardError(
                f"with gateway.activation {parameters.activation} the score of one label alone is always 1; there is "
                "sigmoid, and independent for a graph that ends in one"
            )
        return
    for output, shape, expected in zip(outputs, shapes, _expected(parameters.boxes, classes), strict=True):
        fits = len(shape) == 2 and any(
            all(side in (want, -1) or want == -1 for side, want in zip(shape, each, strict=True))
            for each in expected
        )
        if not fits:
            options = " or ".join(str(list(each)) for each in expected)
            raise CardError(
                f"output {output.name} has shape {list(output.shape)}; {parameters.boxes} with {classes} labels "
                f"needs {options}"
            )


def _expected(boxes: str, classes: int) -> list[list[tuple[int, int]]]:
    """For each output the shapes that it may have, -1 for any number."""
    if boxes == "yolov8":
        return [[(4 + classes, -1)]]
    if boxes == "end2end":
        return [[(-1, 6)]]
    return [[(-1, classes), (-1, classes + 1)], [(-1, 4)]]


def _of_one_input(output: TensorSpec, *, batched: bool) -> list[int]:
    """The shape without the batch dimension."""
    if output.datatype not in ("FP16", "FP32"):
        raise CardError(f"output {output.name} is {output.datatype}; scores are FP32 or FP16")
    shape = list(output.shape)
    if batched:
        return shape
    if shape[:1] not in ([1], [-1]):
        raise CardError(
            f"output {output.name} has shape {shape}; without max_batch_size it starts with 1 or -1"
        )
    return shape[1:]
