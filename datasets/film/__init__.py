"""One file to one film: DICOM, PNG, JPEG or TIFF to float32 pixels in [0, 1], bone bright.

radiograph.py     the film, the largest allowed size, the error of a file that is none
read.py           the dispatcher by content, and PNG, JPEG and TIFF
jpeg.py           8-bit JPEG, with the decoder's warnings
dicom.py          DICOM, from bytes to pixels
codecs.py         from a DICOM film's bytes to cells, and whether the codec had to guess
geometry.py       tags of one frame in an enhanced object, pixels that aren't square
greys.py          what the tags do to grey values: padding, modality LUT, VOI LUT or window, MONOCHROME1
grey_arithmetic.py arithmetic on grey values: tables, windows, scaling, polarity
picture.py        whether the greys still make a picture
codestream.py     sizes that compressed bytes declare, checked before a codec runs
facts.py          the few facts that may be kept of a film
codes.py          what the codes of views and body parts mean
words.py          views and parts of the body in the words of many languages, which are in words.yaml
admission.py      the policy as flags of commands
policy.py         which films are admitted, and which greys are used
identity.py       patients and files as keyed hashes
linkage.py        what each hash stands for, on request
folder.py         the DICOM files of a folder, in a fixed order
dicomweb.py       a connection to a DICOMweb service, and what its answers mean
dicomweb_folder.py the films of an archive that a query finds, as a folder
preprocessing.py  film to model input, a value that checkpoints store
"""
