#!/usr/bin/env bash
# YOLOv8's TensorRT plan, on the GPU that will serve it: a plan fits one kind of GPU and one release of TensorRT.
# Run it in the Triton container, which has trtexec:
#   docker run --rm --gpus all -v "$PWD:/work" -w /work nvcr.io/nvidia/tritonserver:<release>-py3 triton/export/build_plan.sh
set -euo pipefail
cd "$(dirname "$0")/../../model_repository/yolov8_tensorrt"
for folder in [0-9]*/; do
    trtexec --onnx="${folder}model.onnx" --saveEngine="${folder}model.plan" --fp16 \
        --minShapes=images:1x3x640x640 --optShapes=images:8x3x640x640 --maxShapes=images:16x3x640x640
done
