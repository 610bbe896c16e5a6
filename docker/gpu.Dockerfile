# rgan on NVIDIA GPUs: CUDA and cuDNN come with the extra `gpu`, the driver is that of the host, which
# also needs the NVIDIA Container Toolkit. From the project's folder:
#
#   docker build -f docker/gpu.Dockerfile -t rgan:gpu .
#   docker run --rm --gpus all -v "$PWD":/work --user "$(id -u):$(id -g)" rgan:gpu demo
FROM --platform=linux/amd64 python:3.11-slim

WORKDIR /opt/rgan
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY rgan_tf/ rgan_tf/
COPY training/ training/
COPY export/ export/
RUN pip install --no-cache-dir -c constraints.txt '.[gpu]'

# What the container is given of the driver.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# A user without a name has no home; what libraries cache goes there.
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["rgan"]
CMD ["--help"]
