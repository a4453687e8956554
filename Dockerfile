FROM python:3.12-slim

RUN pip install --no-cache-dir uv
WORKDIR /app

# PyTorch and all else first: this layer is built again only when the versions change.
COPY pyproject.toml constraints.txt ./
RUN uv pip install --system --no-cache --constraint constraints.txt --extra label-studio-ml \
    --requirement pyproject.toml

COPY README.md LICENSE label_config.xml ./
COPY preprocessing preprocessing
COPY model model
COPY backend backend
RUN uv pip install --system --no-cache --no-deps .

RUN useradd --create-home cytoloop && install --directory --owner=cytoloop --mode=700 /data
USER cytoloop
ENV CYTOLOOP_HOME=/data
VOLUME /data
EXPOSE 9090
CMD ["cytoloop", "web"]
