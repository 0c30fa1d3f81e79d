# The app and every command, on CPUs, for a user without rights. For research; not a medical device.
# docs/pacs.md says how it is run. Films, weights and results are mounted; nothing of them is in the image.
FROM python:3.12-slim

# A CPU build of torch: PyPI's for Linux brings several GB of CUDA libraries.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url ${TORCH_INDEX} torch torchvision

WORKDIR /opt/end-cxr
COPY pyproject.toml README.md LICENSE ./
COPY app app/
COPY datasets datasets/
COPY models models/
COPY training training/
RUN pip install --no-cache-dir -e '.[pacs]'

# No name is looked up at run time: HOME and USER hold for any user number that the container is started with.
ENV HOME=/tmp USER=end-cxr HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 \
    END_CXR_RUNS=/runs END_CXR_FILMS=/films STREAMLIT_SERVER_ADDRESS=0.0.0.0 STREAMLIT_SERVER_PORT=8501
USER 10001:10001
WORKDIR /tmp
EXPOSE 8501
# Listens inside the container alone, until the port is published: -p 127.0.0.1:8501:8501 keeps it on this machine.
ENTRYPOINT ["end-cxr"]
CMD ["app"]
