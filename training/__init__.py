"""EnD-CXR: training, methods against shortcut learning, and the audit of source bias.

From top to bottom; each floor imports from those below it alone (import contracts in pyproject.toml):

    train.py calibrate/ crossval/ evaluate/ sweep/ benchmark/  commands
    recipe/                                                    runs made from others or from frozen features
    loop/ folder/ hub/ export/                                 training; DICOM folders; what leaves the house
    scoring/ cards/                                            checkpoints on films; runs described for people
    run/                                                       what a run is: settings and files
    methods/ bias/                                             loss terms; the audit
    parallel/ console/                                         processes; the terminal

    __main__.py is all commands under one name, end-cxr; predict.py is the public name of scoring/predict.py; sweeps/ holds
    YAML files. packages.py looks whether the four packages are ours, before anything else is imported.
"""

from training.packages import require_own

require_own()
