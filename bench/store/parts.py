"""The parts of a record, key by key: what their writers may write and their readers may ask for. No torch.

Every key may be missing: older records have fewer, and a failed trial never got to most. The types are the writers'
promise; a file may be edited, so whoever reads values out of one looks at them (`results/rows.py`). The columns of
`results/columns.py` come from here, in this order.
"""

from typing import TypedDict

from bench.plan.tuned import Told


class Place(TypedDict, total=False):
    """Where a trial ran, and by what.

    Attributes:
        device: The kind of device, as studies and commands name it.
        device_name: What the device calls itself.
        host: Name of the machine.
        os: Operating system.
        python: Version of Python.
        torch: Version of PyTorch.
        suite: Version of the suite.
        code: Digest of the sources that training depends on.
        data: Digest of the images and labels.
        execution: How a step was executed: "eager", "graph" or compiled.
    """

    device: str
    device_name: str
    host: str
    os: str
    python: str
    torch: str
    suite: str
    code: str
    data: str
    execution: str


class Kernels(TypedDict, total=False):
    """Which kernels a CPU ran; a GPU has none of these.

    Attributes:
        cpu_capability: Instructions that PyTorch's kernels use.
        onednn_max_cpu_isa: Limit that oneDNN's kernels were given.
    """

    cpu_capability: str
    onednn_max_cpu_isa: str


class Sizes(TypedDict, total=False):
    """Cores, threads and processes.

    Attributes:
        cores: Cores to use.
        threads: Threads of each process.
        workers: Processes side by side.
        seeds_at_once: Seeds of the net that trained at once in the trial's process, where it was not alone.
    """

    cores: int
    threads: int
    workers: int
    seeds_at_once: int


class Environment(Place, Kernels, Sizes, total=False):
    """What resume compares and the page shows; and notes, each only where there is something to say.

    execution_note: why a step was not executed as is usual. checkpoint: what became of the trial's checkpoints.
    did_not_fit: batches that were too large, and what was said of each. threads_note, data_left_out, data_repeated:
    for the user. own_files: digest of the files that the user's own block reads. own_variables: of each variable.
    left_behind: how that block changed its process. search: where the learning rate is from.
    """

    execution_note: str
    checkpoint: str
    did_not_fit: list[str]
    threads_note: str
    data_left_out: str
    data_repeated: str
    own_files: str
    own_variables: dict[str, str]
    left_behind: str
    search: Told


class Today(Environment, total=False):
    """What records of today will say of a data set; and by factory, what each block of the user's reads."""

    files_by_factory: dict[str, str]
    variables_by_factory: dict[str, dict[str, str]]


class Result(TypedDict, total=False):
    """Of a trained net; fractions in 0..1, NaN where it diverged.

    Attributes:
        n_train: Training images.
        n_test: Test images.
        classes: Classes of the data.
        steps_planned: Steps that the recipe asks for.
        longest_gap_s: Longest time between two looks at the loss, in seconds.
        cpu_share: Processor time over the time that passed.
        micro_batch: Images that were computed at once, where a batch did not fit.
    """

    train_error: float
    test_error: float
    train_loss: float
    test_loss: float
    train_error_running: float
    train_loss_running: float
    n_train: int
    n_test: int
    classes: int
    parameters: int
    steps: int
    steps_planned: int
    diverged_step: int | None
    train_seconds: float
    longest_gap_s: float
    cpu_share: float
    micro_batch: int


class Epoch(TypedDict, total=False):
    """One epoch; `steps` since the start.

    Attributes:
        epoch: Epoch, counted from 1.
        steps: Steps since the start.
        train_loss: Mean loss of the batches while the epoch ran.
        train_error: Share of the images that were wrong while the epoch ran.
        test_error: Test error after the epoch.
        lr_first: Learning rate of the epoch's first step.
        lr_last: Learning rate of the epoch's last step.
        seconds: Time that the epoch took.
    """

    epoch: int
    steps: int
    train_loss: float
    train_error: float
    test_error: float
    lr_first: float
    lr_last: float
    seconds: float


class Operator(TypedDict, total=False):
    """One kind of operation in one stage of the network, summed over a step.

    Attributes:
        kind: Kind of operation, such as a convolution.
        stage: Part of the step that it belongs to.
        self_time_s: Time of the operations themselves, in seconds a step.
        calls: Calls in a step.
    """

    kind: str
    stage: str
    self_time_s: float
    calls: float


class Ceilings(TypedDict, total=False):
    """What the device can do at most.

    Attributes:
        copy_bytes_per_s: Best rate of a copy in memory, in bytes a second.
        matmul_flops_per_s: Best rate of a matrix product, in FLOP a second.
    """

    copy_bytes_per_s: float
    matmul_flops_per_s: float


class Counted(TypedDict, total=False):
    """Costs that are one number each.

    Attributes:
        macs_per_image: Multiply-adds of a forward pass of one image.
        memory_floor_bytes: Memory in use before the net was built.
    """

    parameters: int
    flops_per_image: int
    macs_per_image: int
    peak_memory_bytes: int
    memory_floor_bytes: int
    saved_activation_bytes: int
    first_step_s: float
    energy_j_per_step: float
    kernels_per_step: int


class Cost(Counted, total=False):
    """What a cost trial measured: raw samples, and what tells whether they can be trusted.

    Attributes:
        net_memory_bytes: Peak of a step above the floor. Older records lack it: their peak holds a copy of the weights.
    """

    batch_size: int
    net_memory_bytes: int
    flops_leave_out: list[str]
    step_times_s: list[float]
    warmup_times_s: list[float]
    forward_times_s: list[float]
    backward_times_s: list[float]
    optimizer_times_s: list[float]
    inference_times_s: list[float]
    calibration_times_s: list[float]
    others_memory_bytes: list[int]
    cpu_share: float
    operators: list[Operator]
    ceilings: Ceilings


class GradientNorms(TypedDict, total=False):
    """See the probe of this name, here and below."""

    layers: list[str]
    position: list[int]
    norms: list[float]
    first: float
    last: float


class BranchRatio(TypedDict, total=False):
    block: list[int]
    epoch: list[int]
    response_std_by_block: list[list[float]]
    ratio: list[list[float]]
    response_std: list[list[float]]  # of older records
    skipped: str


class DeadUnits(TypedDict, total=False):
    position: list[int]
    share_at_start: list[float]
    mean_at_start: float
    share_at_end: list[float]
    mean_at_end: float
    skipped: str


class Cutting(TypedDict, total=False):
    """Errors under one kind of lesion, with the intact net's BatchNorm statistics and with the lesioned net's."""

    errors: list[float]
    errors_reestimated: list[float]


class RandomCut(Cutting, total=False):
    k: int


class Kept(Cutting, total=False):
    depth: int


class LesionsAt(TypedDict, total=False):
    """Lesions in the midst of training."""

    epoch: int
    intact_error: float
    kept: list[Kept]
    effective_depth: float


class Lesions(Cutting, total=False):
    n_blocks: int
    n_deletable: int
    blocks: list[int]
    random: list[RandomCut]
    kept: list[Kept]
    shuffled: Cutting
    intact_error: float
    intact_error_reestimated: float
    effective_depth: float
    effective_depth_reestimated: float
    by_epoch: list[LesionsAt]
    skipped: str


class PathGradients(TypedDict, total=False):
    blocks: int
    log10_all: float
    lengths: list[int]
    log10_norm: list[float]
    log10_norms: list[list[float]]
    contribution: list[float]
    low: int
    median: int
    high: int
    share_of_paths: float
    skipped: str


# "from" is no name that a class body may use.
GrowthStep = TypedDict(
    "GrowthStep",
    {
        "from": int,
        "to": int,
        "max_logit_difference": float,
        "max_logit": float,
        "same_predictions": float,
        "error_before": float,
        "error_after_insertion": float,
        "ungrown_error": float,
        "ungrown_loss": float,
        "ungrown_test_error": float,
        "ungrown_diverged_step": int | None,
        "steps": int,
        "lr": float,
        "grown_error": float,
        "grown_loss": float,
        "grown_test_error": float,
        "grown_diverged_step": int | None,
    },
    total=False,
)


class Growth(TypedDict, total=False):
    steps: list[GrowthStep]
    skipped: str


class Probes(TypedDict, total=False):
    """By probe, what it measured; a probe that could not run says {"skipped": reason}."""

    gradient_norms: GradientNorms
    branch_ratio: BranchRatio
    dead_units: DeadUnits
    lesions: Lesions
    path_gradients: PathGradients
    growth: Growth
