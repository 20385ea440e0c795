# Copyright 2026 The teleop_webrtc_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from pathlib import Path

from setuptools import find_packages, setup

package_name = 'teleop_webrtc_bridge'
share = f'share/{package_name}'
operator_page = sorted(
    str(path.relative_to(package_name))
    for path in Path(package_name, 'operator_page').rglob('*')
    if path.suffix in {'.html', '.css', '.js', '.svg', '.png', '.webmanifest'}
)

setup(
    name=package_name,
    version='0.1.0',
    packages=find_packages(include=[package_name, f'{package_name}.*']),
    package_data={package_name: ['py.typed', *operator_page]},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{package_name}']),
        (share, ['package.xml']),
        (f'{share}/config', sorted(map(str, Path('config').glob('*.yaml')))),
        (f'{share}/launch', sorted(map(str, Path('launch').glob('*.launch.py')))),
        (f'{share}/systemd', sorted(map(str, Path('systemd').glob('*.service')))),
    ],
    python_requires='>=3.11',
    install_requires=['setuptools'],
    extras_require={'broker': ['PyYAML'], 'test': ['pytest'], 'oidc': ['PyJWT[crypto]==2.15.1']},
    zip_safe=False,
    author='The teleop_webrtc_bridge contributors',
    maintainer='The teleop_webrtc_bridge contributors',
    maintainer_email='maintainers@teleop-webrtc-bridge.invalid',
    description='Drive a ROS 2 robot from a browser over one WebRTC peer connection',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'teleop_bridge = teleop_webrtc_bridge.bridge.ros.main:main',
            'teleop_broker = teleop_webrtc_bridge.broker.main:main',
            'simulated_robot = teleop_webrtc_bridge.demo.simulated_robot:main',
        ],
    },
)
