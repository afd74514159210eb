# The default study in a container; records, tables and page are left in the folders that are mounted:
#   docker build -t depth-ablation .
#   docker run -v "$PWD/results/records:/suite/results/records" -v "$PWD/reports/html:/suite/reports/html" depth-ablation
#   docker run depth-ablation make list
# Not tested: this image has not been built yet. Without a GPU; for one see docs/gpu-runs.md.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /suite
# The packages first: a change of the code then installs nothing again.
COPY requirements.lock Makefile ./
COPY .ci/setup .ci/setup
# Without CUDA: a fifth of the size.
RUN make setup TORCH=cpu
COPY . .
CMD ["make", "ablation"]
