// nextflow run main.nf --sessions 'data/*_g0'
params.options = '--preset steady_auto'

process correct {
    cpus 4
    publishDir 'corrected', mode: 'move'

    input:
    path session

    output:
    path "${session.name}-corrected"

    script:
    """
    steadyspike correct ${session} -o ${session.name}-corrected --n-jobs ${task.cpus} \
        --relative-paths --no-progress-bar ${params.options} --format zarr
    """
}

workflow {
    correct(channel.fromPath(params.sessions, type: 'dir'))
}
