"""What tensors of the official code are called here: a table of beginnings, applied from top to bottom."""

from __future__ import annotations

import re

# on the right {n} is the n-th part that was found, <n> the same as a number less one
_NAMES = [
    (r"initial_rgb\.", "backbone.colours."),
    (r"backbone\.conv1\.", "backbone.first."),
    (r"backbone\.bn1\.", "backbone.norm."),
    (r"backbone\.layer(\d+)\.(\d+)\.conv(\d+)\.", "backbone.groups.<1>.{2}.convolutions.<3>."),
    (r"backbone\.layer(\d+)\.(\d+)\.bn(\d+)\.", "backbone.groups.<1>.{2}.norms.<3>."),
    (r"backbone\.layer(\d+)\.(\d+)\.downsample\.", "backbone.groups.<1>.{2}.shortcut."),
    (r"backbone\.layers\.0\.", "backbone.convolutions.0."),
    (r"backbone\.layers\.2\.", "backbone.norms.0."),
    (r"backbone\.layers\.3\.", "backbone.convolutions.1."),
    (r"backbone\.layers\.5\.", "backbone.norms.1."),
    (r"backbone_digit\.layers\.0\.", "backbone.digits.convolutions.0."),
    (r"backbone_digit\.layers\.1\.", "backbone.digits.norms.0."),
    (r"backbone_digit\.layers\.4\.", "backbone.digits.convolutions.1."),
    (r"backbone_digit\.layers\.5\.", "backbone.digits.norms.1."),
    (r"index_backbone\.embedding", "backbone.places"),
    (r"operator_backbone\.embedding\.", "backbone.operators."),
    (r"backbone\.object_embedding\.", "backbone.symbols.0."),
    (r"backbone\.color_embedding\.", "backbone.symbols.1."),
    (r"backbone\.state_embedding\.", "backbone.symbols.2."),
    (r"backbone\.position_embedding\.", "backbone.places."),
    (r"backbone\.project_to_d_projection\.0\.", "backbone.layers.linears.0."),
    (r"backbone\.project_to_d_projection\.2\.", "backbone.layers.norms.0."),
    (r"backbone\.project_to_d_projection\.3\.", "backbone.layers.linears.1."),
    (r"backbone\.project_to_d_projection\.5\.", "backbone.layers.norms.1."),
    (r"backbone\.input_projector\.1\.", "backbone.layers.linears.0."),
    (r"backbone\.input_projector\.3\.", "backbone.layers.norms.0."),
    (r"backbone\.input_projector\.4\.", "backbone.layers.linears.1."),
    (r"backbone\.input_projector\.6\.", "backbone.layers.norms.1."),
    (r"positional_embedding\.embedders\.(\d+)\.", "positional_embedding.scales.{1}."),
    (r"positional_embedding\.((?:scales\.\d+\.)?)Wr\.", "positions.{1}waves."),
    (r"positional_embedding\.((?:scales\.\d+\.)?)mlp\.0\.", "positions.{1}hidden."),
    (r"positional_embedding\.((?:scales\.\d+\.)?)mlp\.2\.", "positions.{1}out."),
    (r"positional_embedding\.((?:scales\.\d+\.)?)mlp\.3\.", "positions.{1}norm."),
    (r"positional_embedding\.combination", "positions.mixture"),
    (r"positional_embedding\.start_vector", "positions.start"),
    (r"positional_embedding\.projection\.(?:0\.)?", "positions.project."),
    (r"kv_proj\.0\.", "attention.project."),
    (r"kv_proj\.1\.", "attention.norm."),
    (r"q_proj\.", "attention.ask."),
    (r"attention\.out_proj\.", "attention.out."),
    (r"synapses\.first_projection\.0\.", "synapse.first.linear."),
    (r"synapses\.first_projection\.1\.", "synapse.first.norm."),
    (r"synapses\.(down|up)_projections\.(\d+)\.1\.", "synapse.{1}.{2}.linear."),
    (r"synapses\.(down|up)_projections\.(\d+)\.2\.", "synapse.{1}.{2}.norm."),
    (r"synapses\.skip_lns\.", "synapse.norms."),
    (r"synapses\.1\.", "synapse.0.linear."),
    (r"synapses\.3\.", "synapse.0.norm."),
    (r"synapses\.4\.", "synapse.1.linear."),
    (r"synapses\.6\.", "synapse.1.norm."),
    (r"trace_processor\.0\.0\.", "neurons.layers.0."),
    (r"trace_processor\.0\.2\.", "neurons.layers.1."),
    (r"(neurons\.layers\.\d+\.)w1", "{1}weight"),
    (r"(neurons\.layers\.\d+\.)b1", "{1}bias"),
    (r"(neurons\.layers\.\d+\.)T", "{1}temperature"),
    (r"(neurons\.layers\.\d+\.)layernorm\.", "{1}norm."),
    (r"start_activated_(state|trace)", "start_activations"),
    (r"start_trace", "start_history"),
    (r"decay_params_out", "output.decay"),
    (r"decay_params_action", "action.decay"),
    (r"output_projector\.0\.", "head."),
]


def our_name(name: str) -> str:
    """What a tensor of the official code is called here.

    Examples:
        >>> our_name("backbone.layer2.0.conv1.weight"), our_name("synapses.up_projections.0.1.bias")
        ('backbone.groups.1.0.convolutions.0.weight', 'synapse.up.0.linear.bias')
    """
    for pattern, ours in _NAMES:
        found = re.match(pattern, name)
        if found:
            filled = re.sub(r"<(\d)>", lambda at, found=found: str(int(found[int(at[1])]) - 1), ours)
            name = filled.format(found[0], *found.groups()) + name[found.end() :]
    return name
