# rgan on a CPU. From the project's folder:
#
#   docker build -f docker/cpu.Dockerfile -t rgan .
#   docker run --rm -v "$PWD":/work --user "$(id -u):$(id -g)" rgan demo
FROM --platform=linux/amd64 python:3.11-slim

WORKDIR /opt/rgan
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY rgan_tf/ rgan_tf/
COPY training/ training/
COPY export/ export/
RUN pip install --no-cache-dir -c constraints.txt .

# A user without a name has no home; what libraries cache goes there.
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["rgan"]
CMD ["--help"]
