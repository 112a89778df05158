"""Of `make.py`: models of every kind."""

import numpy as np
import torch
from make_parent import POSITIONS, RATE

import steadyspike
from steadyspike.keras_weights import write_keras_unet
from steadyspike.model_folder import NetworkConfig, save_model
from steadyspike.models import config_of
from steadyspike.networks import make_network
from steadyspike.probe_layout import layout_of
from steadyspike.spike_models import SpikeDetectorConfig, WaveformDenoiserConfig
from steadyspike.waveform_models import SpikeClassifierConfig, WaveformAutoencoderConfig


def network_of(name, **sizes):
    torch.manual_seed(3)
    network = make_network(name, sizes).eval()
    with torch.no_grad():
        # a fresh network predicts zeros
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn(weights.shape))
    return network


def of_traces(network):
    layout_type = layout_of(POSITIONS, arrangement=network.arrangement).type
    return config_of(network, layout_type, RATE, extra={"note": "made for a test"})


def of_detector(network, **candidates):
    return SpikeDetectorConfig(
        network=NetworkConfig(name=network.name, sizes=network.sizes),
        sampling_frequency=RATE,
        radius_um=45.0,
        probability=0.4,
        exclude_radius_um=50.0,
        exclude_ms=0.3,
        **candidates,
    )


def of_denoiser(network, samples_before, radius_um):
    return WaveformDenoiserConfig(
        network=NetworkConfig(name=network.name, sizes=network.sizes),
        sampling_frequency=RATE,
        samples_before=samples_before,
        num_samples=network.num_samples,
        radius_um=radius_um,
    )


def of_waveforms(config_class, network, **more):
    return config_class(
        network=NetworkConfig(name=network.name, sizes=network.sizes),
        num_samples=network.sizes["num_samples"],
        num_channels=network.sizes["num_channels"],
        mean=-4.0,
        scale=21.0,
        unit="uV",
        nbefore=6,
        sampling_frequency=RATE,
        **more,
    )


def write_models(folder):
    blindspot = network_of(
        "blindspot",
        **dict(unit=[[1, 1]], features=3, dilations=[1, 2], depth_dilations=[1], linear_taps=3, centre=1),
        **dict(centre_features=2, kernel=3, omission=2, halo=1),
    )
    ridge = network_of("ridge", unit=[[1, 1]], taps=3, omission=2, reach=2)
    unet = network_of("unet_single_ephys_1024", pre=3, post=2, omission=2, width=1)
    detector = network_of(
        "local_spike_detector", samples_before=4, samples_after=6, filters=3, hidden=3, spatial=2, dense=4
    )
    yass_detector = network_of("yass_detector", neighbours=5, filters=3, features=2, taps=7)
    denoiser = network_of(
        "local_waveform_denoiser", samples_before=4, num_samples=11, filters=3, hidden=4, spatial=2
    )
    yass_denoiser = network_of("yass_denoiser", num_samples=17, filters=[3, 2], taps=[5, 7])
    sizes = dict(num_samples=18, num_channels=2)
    cnn = network_of("waveform_cnn", **sizes, features=2, hidden=3)
    gru = network_of("waveform_gru", **sizes, features=2, hidden=3)
    discriminant = network_of("waveform_discriminant", **sizes, components=3)
    autoencoder = network_of("waveform_autoencoder", **sizes, hidden=4, latent=2)
    calibrated = dict(
        classes=("noise", "spike"), temperature=1.7, bias=0.3, threshold=0.6, spike_fraction=0.2
    )
    candidates = dict(candidate_threshold=3.0, candidate_radius_um=50.0, candidate_ms=0.25)
    models = {
        "blindspot": (blindspot, of_traces(blindspot)),
        "ridge": (ridge, of_traces(ridge)),
        "unet": (unet, of_traces(unet)),
        "spike_detector": (detector, of_detector(detector, **candidates)),
        "yass_detector": (yass_detector, of_detector(yass_detector)),
        "waveform_denoiser": (denoiser, of_denoiser(denoiser, 4, 45.0)),
        "yass_denoiser": (yass_denoiser, of_denoiser(yass_denoiser, 5, None)),
        "classifier_cnn": (cnn, of_waveforms(SpikeClassifierConfig, cnn, **calibrated)),
        "classifier_gru": (gru, of_waveforms(SpikeClassifierConfig, gru, **calibrated)),
        "classifier_discriminant": (
            discriminant,
            of_waveforms(SpikeClassifierConfig, discriminant, **calibrated),
        ),
        "autoencoder": (autoencoder, of_waveforms(WaveformAutoencoderConfig, autoencoder)),
    }
    for name, (network, config) in models.items():
        save_model(folder / "models" / name, network, config, f"# {name}\n\nTrained on nothing.\n")
    write_keras_unet(unet, folder / "models" / "keras_unet.h5", rows=16)
    write_outputs(folder)


def write_outputs(folder):
    """Of each model what its network (or its methods) makes of random numbers."""
    rng = np.random.default_rng(1)
    image = rng.standard_normal((1, 40, 8, 2))
    inputs = {
        "blindspot": (image,),
        "ridge": (image,),
        "unet": (rng.standard_normal((1, 20, 16, 2)),),
        "spike_detector": (rng.standard_normal((6, 4, 10)), rng.random((6, 4, 2))),
        "waveform_denoiser": (4 * rng.standard_normal((6, 4, 11)), rng.random((6, 4, 2))),
        "yass_denoiser": (rng.standard_normal((6, 17)),),
    }
    neighbours = np.array([[0, 1, 2, -1, -1], [1, 0, 2, 3, -1], [2, 1, 3, 0, -1], [3, 2, 1, -1, -1]])
    calls = {name: [one.astype("float32") for one in given] for name, given in inputs.items()}
    calls["yass_detector"] = [rng.standard_normal((30, 4)).astype("float32"), neighbours]
    for name, given in calls.items():
        network = steadyspike.load_model(folder / "models" / name).network
        with torch.inference_mode():
            found = network(*map(torch.from_numpy, given)).numpy()
        np.savez(
            folder / "models" / f"{name}.npz",
            output=found,
            **{f"input{number}": one for number, one in enumerate(given)},
        )
    waveforms = (25 * rng.standard_normal((12, 18, 2)) - 4).astype("float32")
    for name in ("classifier_cnn", "classifier_gru", "classifier_discriminant"):
        model = steadyspike.load_model(folder / "models" / name)
        found = {call: getattr(model, call)(waveforms) for call in ("decision_function", "predict_proba")}
        np.savez(
            folder / "models" / f"{name}.npz", waveforms=waveforms, predict=model.predict(waveforms), **found
        )
    model = steadyspike.load_model(folder / "models" / "autoencoder")
    found = {call: getattr(model, call)(waveforms) for call in ("transform", "reconstruct")}
    np.savez(folder / "models" / "autoencoder.npz", waveforms=waveforms, **found)
