from .drift import DriftTruth as DriftTruth
from .drift import SimulatedDrift as SimulatedDrift
from .drift import simulate_drifting_recording as simulate_drifting_recording
from .truth import error_summary as error_summary
from .truth import motion_error as motion_error
from .truth import true_motion as true_motion
