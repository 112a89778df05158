from .drift import KilosortMotionComparison as KilosortMotionComparison
from .drift import compare_motion as compare_motion
from .drift import peaks_as_seen as peaks_as_seen
from .drift import trust as trust
from .handover import KilosortInput as KilosortInput
from .handover import prepare as prepare
from .output import KilosortOutput as KilosortOutput
from .reading import read_output as read_output
